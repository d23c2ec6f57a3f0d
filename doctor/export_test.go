package doctor

var ParseListeners = parseListeners
