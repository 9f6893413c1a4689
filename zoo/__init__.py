"""medzoo: a multimodal medical-imaging model zoo (placeholder text replaced by api)."""
