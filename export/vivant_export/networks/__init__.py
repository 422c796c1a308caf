"""The published networks in torch: inference only, with the official parameter names."""
