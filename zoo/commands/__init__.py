"""The verbs: each opens what it needs, calls one room, prints."""
