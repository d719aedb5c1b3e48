"""The commands of `selectnet`: flags in, one call, words out."""
