"""What is shared of a run: bundles, their cards, licences and signatures, and the Hugging Face hub they are pushed to."""
