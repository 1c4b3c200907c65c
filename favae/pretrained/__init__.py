"""Networks trained elsewhere: declared weights, LPIPS, feature and label networks. Training and evaluation both use them."""
