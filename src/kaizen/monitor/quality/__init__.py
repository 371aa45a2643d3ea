"""Are rows what rows should be, and are there as many as should be?"""
