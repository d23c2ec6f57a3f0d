package mistake

// How a control plane tells an agent of a mistake: in a google.rpc.ErrorInfo among the details of the status, with the code
// as the reason, in this domain.
const (
	Domain = "koguma"
	// MetaFix is the end of the message that says what to do, for who has something better to say.
	MetaFix = "fix"
	// MetaTime is the clock of the control plane, in RFC 3339, where the time was what mattered.
	MetaTime = "time"
)
