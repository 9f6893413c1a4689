"""What corruption does to a metric: differences to clean images on the same patients, errors over severities, a curve."""
