"""From a plan to Python source that needs no paramlint to run."""
