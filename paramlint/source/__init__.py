"""Reads training scripts without running them: what they give to which optimizer. No torch."""
