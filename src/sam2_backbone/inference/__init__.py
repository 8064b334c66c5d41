"""From pixels and prompts to masks: predictors for images and videos."""
