"""Where a network looked: maps over images, and how well they fall on what someone marked."""
