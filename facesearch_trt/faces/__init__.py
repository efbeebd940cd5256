"""From pixels to faces: letterbox, decode, align, embed, quality."""
