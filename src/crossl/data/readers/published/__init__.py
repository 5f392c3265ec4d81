"""Lists of published files with their checksums, too long to stand beside a reader."""
