package cp

// ToldOf is toldOf.
var ToldOf = toldOf
