"""The command line: parses, calls one function, prints. Heavy imports wait inside commands."""
