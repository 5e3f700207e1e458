"""What a run looks like: each module turns a `Run` into text, rich renderables or JSON. Nothing here prints."""
