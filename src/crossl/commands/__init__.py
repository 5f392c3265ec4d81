"""What the command line does with stores and runs: one file for each verb."""
