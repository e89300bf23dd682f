"""A stand-in for the Gemini API's image models, with pictures that show what was asked."""
