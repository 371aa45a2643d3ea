"""Is a column filled the same way for training and for serving?"""
