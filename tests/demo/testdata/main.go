// Command testdata is a program to be put into an image.
package main

func main() {}
