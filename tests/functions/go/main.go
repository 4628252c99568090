// A custom runtime on the standard library: it fetches events from the Lambda Runtime API and returns them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
)

func main() {
	connection, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		panic(err)
	}
	reader := bufio.NewReader(connection)
	for {
		headers, event := call(connection, reader, "GET", "next", nil)
		id := headers.Get("Lambda-Runtime-Aws-Request-Id")
		fmt.Println("go has", string(event))
		kind, response := handle(headers, event)
		call(connection, reader, "POST", id+"/"+kind, response)
	}
}

// Fail, panic or exit, if the event has a member for it; else return the event with facts about this process.
func handle(headers textproto.MIMEHeader, event []byte) (string, []byte) {
	var request struct {
		Fail, Panic string
		Exit        int
	}
	json.Unmarshal(event, &request)
	if request.Panic != "" {
		panic(request.Panic)
	}
	if request.Exit != 0 {
		os.Exit(request.Exit)
	}
	if request.Fail != "" {
		return "error", marshal(map[string]string{"errorMessage": request.Fail, "errorType": "errorString"})
	}
	return "response", marshal(map[string]any{
		"event": json.RawMessage(event), "arn": headers.Get("Lambda-Runtime-Invoked-Function-Arn"),
		"handler": os.Getenv("_HANDLER"), "runtime": os.Getenv("AWS_EXECUTION_ENV"), "pid": os.Getpid(),
	})
}

func marshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return data
}

// Send one request over a connection that stays open, and return the response.
func call(to io.Writer, from *bufio.Reader, method, operation string, body []byte) (textproto.MIMEHeader, []byte) {
	fmt.Fprintf(to, "%s /2018-06-01/runtime/invocation/%s HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n%s",
		method, operation, len(body), body)
	text := textproto.NewReader(from)
	if status, err := text.ReadLine(); err != nil || !strings.HasPrefix(status, "HTTP/1.1 20") {
		panic(fmt.Sprint(operation, ": ", status, err))
	}
	headers, err := text.ReadMIMEHeader()
	if err != nil {
		panic(err)
	}
	length, _ := strconv.Atoi(headers.Get("Content-Length"))
	data := make([]byte, length)
	if _, err := io.ReadFull(from, data); err != nil {
		panic(err)
	}
	return headers, data
}
