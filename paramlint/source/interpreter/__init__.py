"""Reads group-building code: every statement once, with variables for what loops over parameters take."""
