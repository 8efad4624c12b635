"""What a journal tells of its run afterwards: status, learning, comparison, report."""
