"""What can be said from the curves of one training: the curves, what they show, what they cannot show."""
