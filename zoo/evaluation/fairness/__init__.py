"""Who a model serves worse: metrics by subgroup and intersection, and the gaps between them."""
