"""What is measured, under which protocol and name: image metrics, LPIPS, Frechet distances."""
