"""Volume networks rewritten exactly over planes."""
