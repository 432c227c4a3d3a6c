"""The connections of the public listener: their limits, their deadlines, the pace of a crowd."""
