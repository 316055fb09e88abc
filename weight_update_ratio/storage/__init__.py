"""Names, to bytes: a trial folder on disk or on S3."""
