"""meden inside other people's programs; nothing here is imported by the rest."""
