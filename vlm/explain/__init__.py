"""What a caption or an answer looked at, seen and scored."""
