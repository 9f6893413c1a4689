"""What training minimises: arithmetic on tensors, missing labels masked; no task is known here."""
