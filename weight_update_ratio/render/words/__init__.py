"""The words that every rendering shares."""
