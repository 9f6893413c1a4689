"""Image–text models of open_clip's kind, their image towers and tokenizers."""
