"""What every other room may use: errors, objectives, text that is safe to show, the places of shipped files."""
