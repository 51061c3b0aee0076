// Package relay carries calls from one pod to another, over the same gRPC port that callers use.
//
// [Pods] holds the connections to other pods. [Pods.Invoke] forwards a unary call, [Pods.Open] a streaming one. Messages pass as [Message]:
// the bytes as they came, in the transport's own buffers, so that nothing is decoded and nothing is copied but by the sockets. [Codec] teaches a codec of
// gRPC to pass them in both directions.
//
// Each forwarded call carries a proof that another pod made it, for this pod, this method and about this moment; the key follows from the secret that pods
// share. [Gate] checks it before anything else of a call is looked at, and [Forwarded] tells handlers. A call that was forwarded is never forwarded again. The proof holds
// who the caller is, what it may do and until when: the pod that serves the call takes that from nowhere else.
//
// The package knows gRPC and identities, and neither sessions nor stores.
package relay
