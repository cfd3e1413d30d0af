"""What really happened, found out without execaudit: the live tests compare the two.

The C programs start each other in every way and write down what they were started with;
the modules beside them compile and run them, and read what strace and ftrace saw.
"""
