"""What every other room may use: errors, objectives, text that is safe to show, and where the shipped files are."""
