"""The first minute without torch: one verified model and four images that travel with the package. docs/demo.md."""
