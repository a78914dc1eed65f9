package wire

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Codes of distribution-spec, "Error Codes", and those beside them that
// registries share.
const (
	CodeBlobUnknown         = "BLOB_UNKNOWN"
	CodeBlobUploadInvalid   = "BLOB_UPLOAD_INVALID"
	CodeBlobUploadUnknown   = "BLOB_UPLOAD_UNKNOWN"
	CodeDigestInvalid       = "DIGEST_INVALID"
	CodeManifestBlobUnknown = "MANIFEST_BLOB_UNKNOWN"
	CodeManifestInvalid     = "MANIFEST_INVALID"
	CodeManifestUnknown     = "MANIFEST_UNKNOWN"
	CodeNameInvalid         = "NAME_INVALID"
	CodeNameUnknown         = "NAME_UNKNOWN"
	CodeSizeInvalid         = "SIZE_INVALID"
	CodeTagInvalid          = "TAG_INVALID"
	CodeUnauthorized        = "UNAUTHORIZED"
	CodeDenied              = "DENIED"
	CodeUnsupported         = "UNSUPPORTED"
	CodeTooManyRequests     = "TOOMANYREQUESTS"
	CodePreconditionFailed  = "PRECONDITION_FAILED" // of this project; the specification has none for 412
	CodeUnknown             = "UNKNOWN"
)

// An Error is one entry of an error body.
type Error struct {
	Code    string          `json:"code"`
	Message string          `json:"message,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Error returns the entry as one line: the code in words, message, detail.
func (e Error) Error() string {
	parts := []string{strings.ToLower(strings.ReplaceAll(e.Code, "_", " "))}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	var detail any
	if json.Unmarshal(e.Detail, &detail) == nil && detail != nil {
		parts = append(parts, fmt.Sprint(detail))
	}
	return strings.Join(parts, ": ")
}

type errorBody struct {
	Errors []Error `json:"errors"`
}

// ErrorBody returns the JSON body that carries errs.
func ErrorBody(errs ...Error) []byte {
	body, err := json.Marshal(errorBody{errs})
	if err != nil { // only a Detail that is no JSON can be the reason
		body, _ = json.Marshal(errorBody{[]Error{{Code: CodeUnknown, Message: err.Error()}}})
	}
	return body
}

// ParseErrors returns the errors that body carries; none if it is no error body.
func ParseErrors(body []byte) []Error {
	var parsed errorBody
	if json.Unmarshal(body, &parsed) != nil {
		return nil
	}
	return parsed.Errors
}
