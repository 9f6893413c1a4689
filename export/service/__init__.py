"""A service around proven files: Starlette and the runtime, no torch."""
