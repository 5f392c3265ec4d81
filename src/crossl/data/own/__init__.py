"""People's own recordings: the mapping that says what their files mean, and files of one format."""
