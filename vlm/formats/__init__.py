"""The field's file formats, read with checks and written whole: what people and models wrote."""
