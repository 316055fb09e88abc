"""The benchmark of detection: does a band learnt from good runs catch sick training runs?"""
