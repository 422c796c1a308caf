"""The way from photo to picture on a device: nothing but the matte and the faces comes back."""
