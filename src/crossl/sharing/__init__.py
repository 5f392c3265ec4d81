"""A run that is handed on: its model card, and runs that lie at Hugging Face."""
