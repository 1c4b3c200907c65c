"""Networks trained elsewhere: declared weights, LPIPS, feature networks. Training and evaluation both use them."""
