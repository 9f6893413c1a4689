"""Images of any number of channels: the planes of one file, or several images that are the channels of one."""
