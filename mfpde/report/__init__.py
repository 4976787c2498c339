"""What is shown of a run: summary and page."""
