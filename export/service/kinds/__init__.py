"""What a sample of a request is: one image, images and values by name, or a bag of images."""
