"""Weights: conversion to and from other libraries, and what a network must be to take them."""
