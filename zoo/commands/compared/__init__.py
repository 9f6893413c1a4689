"""What `medzoo compare` puts side by side: runs, settings, pages."""
